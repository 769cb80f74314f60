"""Index: from a source to its series, by headers alone. Nothing is decoded, nothing is written.

`inspection` says what each file is, `entries` makes series of their headers, `given` and `references` find their masks,
`select` leaves out what the cohort's rules drop; `source_index` does these in order.
"""
