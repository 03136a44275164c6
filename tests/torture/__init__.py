"""Messages made to break SIP parsers, and what becomes of each here."""
