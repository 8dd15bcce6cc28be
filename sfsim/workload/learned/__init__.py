"""Learned codecs at work: `networks` builds the trainee, `wire` freezes it into what both ends hold.

Everything here needs torch and compressai (about two seconds to import), so import its modules where a learned
codec is built and nowhere else.
"""
