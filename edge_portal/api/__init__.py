"""The customer's API and what operators ask of an edge."""
