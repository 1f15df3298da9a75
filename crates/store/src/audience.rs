//! Saved audiences and the members they resolve to.
