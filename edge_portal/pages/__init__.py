"""The customer's pages: one page a file, all from the same view of an account."""
