"""Signals of documents and the rules that decide by them: tag first, decide afterwards."""
