//! A bounded, checksummed disk queue of opaque records.
