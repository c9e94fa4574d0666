"""The page's icon: several voices around one answer."""

from __future__ import annotations

FAVICON = (
    '<svg viewBox="0 0 32 32" xmlns="http://www.w3.org/2000/svg">'
    '<rect width="32" height="32" rx="8" fill="#3d4f8f"/>'
    '<g stroke="#fff" stroke-opacity=".7" stroke-width="1.6"><path d="M16 16 8 8M16 16l8-8M16 16l-8 8M16 16l8 8"/></g>'
    '<circle cx="16" cy="16" r="4" fill="#fff"/>'
    '<circle cx="8" cy="8" r="3" fill="#f2c14e"/><circle cx="24" cy="8" r="3" fill="#7fc8a9"/>'
    '<circle cx="8" cy="24" r="3" fill="#f08a6b"/><circle cx="24" cy="24" r="3" fill="#9db8f5"/></svg>'
)
