//! The core database on both engines: every promise of the store, each as one test.

mod audience;
mod audit;
mod broadcast;
mod claim;
mod conservation;
mod ends;
mod erasure;
mod exercise;
mod fresh;
mod migration;
mod opening;
mod proof;
mod recover;
mod release;
mod request;
mod response;
mod signature;
mod staff;
mod staff_mail;
mod stop;
mod turn;
