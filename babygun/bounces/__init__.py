"""What comes back about an e-mail: bounce messages, complaints and automatic replies, by SMTP.

``take_apart`` splits a message into parts, ``parse`` says what it is, ``server`` takes it. The
parsers are pure: they get bytes, do bounded work, and raise nothing.
"""
