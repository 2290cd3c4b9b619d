//! Examples of eventfold-es.
