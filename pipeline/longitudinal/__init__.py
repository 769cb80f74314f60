"""One patient over time: the same lesion found again, what became of it, and what rules of response make of that.

    timeline     which scans follow each other, and what is known of their lesions
    register     a rigid motion that brings one vertebra onto itself
    motions      the motion that holds at a lesion
    links        which lesions of two scans lie at one place
    growth       larger, smaller, or within what measurement varies
    events       links that hang together: new, resolved, growing, ..., merged, split
    match        two scans, or all scans of a patient: edges
    changes      the edges that the store lacks, made and added
    views        SQL of the views `edges` and `changes`
    rules        SQL of the response rules

Every vertebra is registered by itself, for the spine bends between two scans and a vertebra does not. No real truth
over time was at hand: the tests are made-up scans with a known change.
"""
