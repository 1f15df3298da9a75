//! Members of the registry and their fiscal years.
