"""What an e-mail is: its data, its addresses and ids, its life cycle. Pure: no clock, no I/O."""
