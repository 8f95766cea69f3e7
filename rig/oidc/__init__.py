"""A stand-in for an OpenID Connect server: discovery, authorization with PKCE, signed tokens, userinfo."""
