// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use super::*;

fn layers(data: &[&str]) -> Layers {
    let mut layers = Layers::new();
    for (index, data) in data.iter().enumerate() {
        layers
            .push(format!("layer {index}"), data.as_bytes())
            .unwrap_or_else(|error| panic!("{data}: {error}"));
    }
    layers
}

fn text(data: &str, key: &str) -> Option<String> {
    layers(&[data]).get(key).unwrap().map(|setting| setting.text.to_owned())
}

#[test]
fn the_first_layer_that_has_a_setting_wins() {
    let node = r#"{ "agent" : { "midolman" : { "simulation_threads" : 2 } } }"#;
    let template = r#"{ "agent" : { "midolman" : { "stats_http_server_port" : 7400 } } }"#;
    let schema = "agent { midolman { stats_http_server_port : 7300, simulation_threads : 1 } }";
    let all = layers(&[node, template, schema]);
    assert_eq!(
        all.get(STATS_PORT).unwrap(),
        Some(Setting {
            layer: "layer 1",
            text: "7400"
        })
    );
    assert_eq!(all.stats_port(), Ok(7400));
    assert_eq!(all.get("agent.midolman.simulation_threads").unwrap().unwrap().text, "2");
    assert_eq!(all.get("agent.midolman.other").unwrap(), None);
    assert_eq!(layers(&[""]).stats_port(), Ok(DEFAULT_STATS_PORT));
    assert_eq!(layers(&[]).stats_port(), Ok(DEFAULT_STATS_PORT));
    assert_eq!(
        layers(&["agent.midolman.stats_http_server_port=null", schema]).stats_port(),
        Ok(DEFAULT_STATS_PORT)
    );
}

#[test]
fn all_spellings_of_a_setting() {
    let spellings = [
        "a.b = 7400",
        "a { b : 7400 }",
        "{ \"a\" : { \"b\" : \"7400\" } }",
        "a.b=7400,c=1",
        "a { c = 1 }\na { b = 7400 }",
        "a.b = 1\na.b = 7400",
        "a = { b = 7400 } // comment",
        "# comment\n\"a\".b : 7400 # and here",
        "a = {c:1} { b : 7400 }",
        "a = ${x} { b : 7400 }",
        "a.b = \"\"\"7400\"\"\"",
        "x = [1, {a : ${y}}, \"]\", [2]]\na.b = 7400",
        "x = ${a} ${?b}\"c\"\na.b = 7400",
        "\u{feff}a.b = 7400",
    ];
    for spelling in spellings {
        assert_eq!(text(spelling, "a.b").as_deref(), Some("7400"), "{spelling}");
    }
    assert_eq!(text("a = one two # three", "a").as_deref(), Some("one two"));
    assert_eq!(text("a = \"quoted \\u00e9\\n\"", "a").as_deref(), Some("quoted \u{e9}\n"));
    assert_eq!(text("a = /usr/bin //c", "a").as_deref(), Some("/usr/bin"));
    assert_eq!(text("a = \"\"\"x\"y\"\"\"\"", "a").as_deref(), Some("x\"y\""));
    assert_eq!(text("\"a.b\" = 1", "a.b"), None);
}

#[test]
fn a_schema_with_substitutions_is_read_but_for_them() {
    let schema = "agent {\n  loggers { root : INFO, \"org.midonet\" : ${agent.loggers.root} }\n  flow_history {\n    enabled : false\n    enabled_description : \"\"\"\nSend\n\"flows\"\"\"\"\n    queue_size : \"128\"\n  }\n}\n";
    let all = layers(&[schema]);
    assert_eq!(all.bool("agent.flow_history.enabled"), Ok(Some(false)));
    assert_eq!(all.get("agent.flow_history.queue_size").unwrap().unwrap().text, "128");
    let all = layers(&["agent.midolman.stats_http_server_port : ${port}"]);
    assert_eq!(
        all.stats_port().unwrap_err().to_string(),
        "agent.midolman.stats_http_server_port in layer 0 is a substitution"
    );
}

#[test]
fn settings_that_cannot_be_used_say_so() {
    let error = |data: &str| layers(&[data]).stats_port().unwrap_err().to_string();
    assert_eq!(
        error("agent.midolman.stats_http_server_port = 70000"),
        "agent.midolman.stats_http_server_port in layer 0 is \"70000\", expected a port number"
    );
    assert_eq!(
        error("agent.midolman.stats_http_server_port { }"),
        "agent.midolman.stats_http_server_port in layer 0 is not a scalar"
    );
    assert_eq!(
        error("agent.midolman.stats_http_server_port = [1]"),
        "agent.midolman.stats_http_server_port in layer 0 is not a scalar"
    );
    assert_eq!(layers(&["x = yes"]).bool("x"), Ok(Some(true)));
    assert!(layers(&["x = 1"]).bool("x").is_err());
}

#[test]
fn data_that_is_no_configuration() {
    let error = |data: &str| Layers::new().push("x", data.as_bytes()).unwrap_err().to_string();
    assert_eq!(error("{ a : 1"), "configuration at line 1: expected '}'");
    assert_eq!(error("a : 1\nb"), "configuration at line 2: expected ':', '=' or '{'");
    assert_eq!(error("a : \"x"), "configuration at line 1: expected '\"'");
    assert_eq!(error("a : ${x"), "configuration at line 1: expected '}'");
    assert_eq!(error("a : [1"), "configuration at line 1: expected ']'");
    assert_eq!(error("a = }"), "configuration at line 1: expected a value");
    assert_eq!(
        error("a {} b = 1"),
        "configuration at line 1: expected a comma or a new line behind an object or array"
    );
    assert_eq!(error("{} {}"), "configuration at line 1: expected the end");
    assert_eq!(error(".a = 1"), "configuration at line 1: expected a key");
    assert_eq!(error("include \"file\""), "configuration at line 1: expected a key, not an include");
    assert_eq!(error(&"a{".repeat(100_000)), "configuration nests deeper than 64 at line 1");
    assert_eq!(
        error(&format!("a=1,{}b=1", "x.".repeat(70))),
        "configuration nests deeper than 64 at line 1"
    );
    assert_eq!(
        error(&format!("a={}", "[".repeat(100_000))),
        "configuration nests deeper than 64 at line 1"
    );
    assert!(matches!(Layers::new().push("x", &[0xff]), Err(HoconError::Encoding { at: 0 })));
    assert!(matches!(
        Layers::new().push("x", &vec![b' '; MAX_CONFIG_BYTES + 1]),
        Err(HoconError::TooLong { .. })
    ));
}

#[test]
fn the_template_of_a_node() {
    let node: Uuid = "aa000000-0000-4000-8000-000000000001".parse().unwrap();
    let mappings = br#"{ "aa000000-0000-4000-8000-000000000001" : "agent-gateway-large" }"#;
    assert_eq!(template_of(mappings, node).unwrap(), "agent-gateway-large");
    assert_eq!(template_of(mappings, Uuid::nil()).unwrap(), DEFAULT_TEMPLATE);
    assert_eq!(template_of(b"", node).unwrap(), DEFAULT_TEMPLATE);
}
