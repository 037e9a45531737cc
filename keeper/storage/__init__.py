"""The journal and the price history: synchronous SQLAlchemy on one thread of its own."""
