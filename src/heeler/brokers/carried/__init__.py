"""The steps of an ordered store, over tables: what memory and SQLite do with jobs whose messages travel elsewhere."""
