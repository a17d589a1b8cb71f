"""The commands and the documents' programs, as their users run them in front of the demo."""
