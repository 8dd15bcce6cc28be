"""What a party has to do next, and what it costs: live (torch and codecs) or, later, recorded."""
