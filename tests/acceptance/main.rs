//! The stranger's way: what somebody meets who has nothing but the executable and its
//! documentation. Names, shapes and exit codes here are the contract that scripts rely on.

mod bad_input;
mod contract;
mod demonstration;
mod doctor;
mod installation;
mod privacy;
mod rented_mailbox;
