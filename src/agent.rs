//! (being written)
#[derive(Debug, Clone)]
pub struct AgentConfig {
    pub node_name: String,
    pub interval: std::time::Duration,
    pub window: usize,
    pub timeout: std::time::Duration,
    pub heartbeat: std::time::Duration,
    pub metrics_listen: std::net::SocketAddr,
}
impl Default for AgentConfig {
    fn default() -> Self {
        Self {
            node_name: String::new(),
            interval: Default::default(),
            window: 10,
            timeout: Default::default(),
            heartbeat: Default::default(),
            metrics_listen: ([0, 0, 0, 0], 0).into(),
        }
    }
}
