"""A report of a store: one HTML file that opens without a network.

`gather` asks the store, `figures` draws, `gallery` cuts pictures of lesions, `page` puts them together.
"""
