//! The vocabulary of Homeostat and the immutable snapshot that every stage reads.
