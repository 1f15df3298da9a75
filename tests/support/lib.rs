//! What the promises in this package have in common. Each folder beside this one is a test
//! target: `architecture` reads the manifests, the others run the product.
