//! The incidents this software exists to make impossible, each played again.
//!
//! One file is one story. The first two are the founding ones: a nursing society's drill in
//! September 2020 and a health-check association's reservation mail in July 2022; the others are
//! the same failure elsewhere. Each step says what happened then and what happens now. The
//! figures are those of the published reports.
//!
//! Not here: the newsletter servers whose checkpoint advanced when a batch was fetched, or whose
//! status was written at a batch's end. Those stories end with a kill at the worst moment, and
//! the target `crash` kills at every one of them.

mod a_society_of_4000;
mod looked_at_first;
mod noticed_after_60_minutes;
mod opening_is_not_reporting;
mod seventeen_replies;
mod stopped_at_night;
mod the_3001st_recipient;
mod the_missing_field;
mod the_wrong_nature;
mod three_fiscal_years;
