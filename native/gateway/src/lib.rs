//! The site's side: taps, batching, uplink, identity, and mn-insights.
