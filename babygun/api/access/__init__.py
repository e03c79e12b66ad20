"""Who may call: tokens, the sign-in of the page, and API clients."""
