//! The broadcasting desk and the timelines of exercises, with a clock that obeys the test.

mod desk;
mod office;
mod timeline;
