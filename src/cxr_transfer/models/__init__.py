"""Networks, the weights they start from, and the files they are kept in."""
