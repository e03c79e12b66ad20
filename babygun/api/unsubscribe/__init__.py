"""The page behind a link to unsubscribe, for recipients and their mail programs."""
