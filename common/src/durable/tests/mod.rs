//! Every crash image and every failure of every operation, for all that is written durably; and mutants, which must
//! be caught by the same checks.

mod at_once;
mod check;
mod crashes;
mod fake;
mod images;
mod mutants;
mod two_writers;
