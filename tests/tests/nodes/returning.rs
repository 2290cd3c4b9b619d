//! A node ends without closing, and returns with what its disk has.
