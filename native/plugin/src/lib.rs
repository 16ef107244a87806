//! The cdylib that the minion loads.
