//! broadcaster
