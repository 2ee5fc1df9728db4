//! The product against real Kubernetes: its own binary, its own accounts, the manifests that are shipped.

mod lab;
mod light;
mod prometheus;
mod told;
