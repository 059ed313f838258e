"""The brokers: one folder for each technology, which holds all that Heeler knows of it."""
