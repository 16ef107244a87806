// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::net::IpAddr;

use insights_store::{End, FlowFilter, FlowTest, Mac, Verdict};
use proptest::prelude::*;
use uuid::Uuid;

use super::{resolve::Names, *};

#[test]
fn the_example_of_the_manual() {
    let expr = parse("src.ip in 10.0.0.0/8 and dst.port = 443 and result = dropped").unwrap();
    assert_eq!(expr.to_string(), "src.ip in 10.0.0.0/8 and dst.port = 443 and result = dropped");
    assert_eq!(expr.conjuncts().len(), 3);
    assert_eq!(parse("  ").unwrap(), Expr::all());
    assert_eq!(Expr::all().to_string(), "");
}

#[test]
fn precedence_and_canonical_text() {
    for (typed, canonical) in [
        (
            "PROTO = 6 OR proto == udp and dst.port in(80,443 , 8000-8080)",
            "proto = tcp or proto = udp and dst.port in (80, 443, 8000-8080)",
        ),
        ("((proto=tcp)) and (ttl<5 and ttl >= 1)", "proto = tcp and ttl < 5 and ttl >= 1"),
        ("not (not src.ip = 10.1.2.3)", "not not src.ip = 10.1.2.3"),
        (
            "(result = dropped or result = allowed) and vlan != 7",
            "(result = dropped or result = allowed) and vlan != 7",
        ),
        ("ethertype = 2048 or ethertype = 0x9000", "ethertype = ipv4 or ethertype = 0x9000"),
        ("src.mac = FA-16-3E-0-0-1", "src.mac = fa:16:3e:00:00:01"),
        ("device = \"a \\\"b\\\" c\"", "device = \"a \\\"b\\\" c\""),
        (
            "host not in (cmp-1, cmp-2) and src.tenant = none",
            "host not in (cmp-1, cmp-2) and src.tenant = none",
        ),
        (
            "ip = 10.0.0.1-10.0.0.9 and dst.ip = fe80::1/10",
            "ip = 10.0.0.1-10.0.0.9 and dst.ip = fe80::1/10",
        ),
        ("src.tenant = \"none\"", "src.tenant = \"none\""),
    ] {
        assert_eq!(parse(typed).unwrap().to_string(), canonical, "{typed}");
    }
}

#[test]
fn errors_say_what_and_where() {
    for (text, at, part) in [
        ("src.prt = 5", 0..7, "do you mean src.port?"),
        ("bananas = 5", 0..7, "no field “bananas”"),
        ("src.ip", 6..6, "after src.ip goes ="),
        ("src.ip = 10.0.0.300", 9..19, "takes an address"),
        ("src.ip = 10.0.0.0/33", 9..20, "takes an address"),
        ("dst.port = 70000", 11..16, "at most 65535"),
        ("dst.port = 90-80", 11..16, "upside down"),
        ("proto = tcp dst.port = 1", 12..20, "“and” or “or”"),
        ("(proto = tcp", 0..1, "not closed"),
        ("proto = tcp)", 11..12, "never opened"),
        ("dst.port in (80, 443", 12..13, "not closed"),
        ("dst.port in (80 443)", 16..19, "comma"),
        ("result > dropped", 7..8, "no order"),
        ("result = maybe", 9..14, "allowed, dropped, consumed"),
        ("ttl < 1-5", 6..9, "one number"),
        ("host = \"unclosed", 7..16, "quote"),
        ("host = a;b", 8..9, "quotes"),
        ("größe = 1", 0..5, "no field"),
        ("and", 0..3, "no field"),
    ] {
        let error = parse(text).unwrap_err();
        assert_eq!(error.at, at, "{text}: {error}");
        assert!(error.message.contains(part), "{text}: {error}");
    }
    assert!(parse(&"(".repeat(5000)).unwrap_err().message.contains("deep"));
    assert!(parse(&"not ".repeat(1500)).unwrap_err().message.contains("deep"));
    assert!(parse(&"x".repeat(MAX_TEXT + 1)).unwrap_err().message.contains("longer"));
    let many = format!("dst.port in ({})", (1..=129).map(|n| n.to_string()).collect::<Vec<_>>().join(","));
    assert!(parse(&many).unwrap_err().message.contains("values"));
}

#[test]
fn form_edits() {
    let expr = parse("src.ip = 10.0.0.1 and dst.port = 80").unwrap();
    assert_eq!(expr.swapped().to_string(), "dst.ip = 10.0.0.1 and src.port = 80");
    assert_eq!(expr.without(0).to_string(), "dst.port = 80");
    assert_eq!(expr.without(0).without(0), Expr::all());
    let more = expr.with(Test::eq(Field::Proto, Value::Number(6, 6)));
    assert_eq!(more.to_string(), "src.ip = 10.0.0.1 and dst.port = 80 and proto = tcp");
    assert_eq!(more.with(Test::eq(Field::Proto, Value::Number(6, 6))), more);
    let either = parse("proto = tcp or proto = udp")
        .unwrap()
        .with(Test::eq(Field::Ttl, Value::Number(1, 1)));
    assert_eq!(either.to_string(), "(proto = tcp or proto = udp) and ttl = 1");
}

struct Cloud;

impl Names for Cloud {
    fn objects(&self, field: Field, name: &str) -> Vec<Uuid> {
        match (field, name) {
            (Field::Host, "cmp-1") => vec![Uuid::from_u128(1)],
            (Field::Device, "twins") => vec![Uuid::from_u128(2), Uuid::from_u128(3)],
            _ => Vec::new(),
        }
    }

    fn tenants(&self, name: &str) -> Vec<String> {
        if name == "storefront" { vec!["t1".to_owned()] } else { Vec::new() }
    }
}

#[test]
fn resolving() {
    let resolved = |text: &str| resolve::resolve(&parse(text).unwrap(), &Cloud);
    let is = FlowFilter::Is;
    assert_eq!(resolved("result = dropped").unwrap(), is(FlowTest::Verdict(Verdict::Dropped)));
    assert_eq!(resolved("dst.port > 1024").unwrap(), is(FlowTest::Tp(End::Dst, 1025..=65535)));
    assert_eq!(resolved("ttl >= 5").unwrap(), is(FlowTest::Ttl(5..=255)));
    assert_eq!(resolved("ttl < 0").unwrap(), FlowFilter::Or(vec![]));
    assert_eq!(resolved("host != cmp-1").unwrap(), is(FlowTest::Host(Uuid::from_u128(1))).negate());
    assert_eq!(
        resolved("device = twins").unwrap(),
        FlowFilter::Or(vec![is(FlowTest::Device(Uuid::from_u128(2))), is(FlowTest::Device(Uuid::from_u128(3)))])
    );
    assert_eq!(resolved("tenant = storefront").unwrap(), is(FlowTest::Tenant(End::Either, "t1".into())));
    assert_eq!(resolved("tenant = gone").unwrap(), is(FlowTest::Tenant(End::Either, "gone".into())));
    assert!(resolved("host = cmp-9").unwrap_err().to_string().contains("no host is called “cmp-9”"));
    let id = Uuid::from_u128(99);
    assert_eq!(resolved(&format!("device = {id}")).unwrap(), is(FlowTest::Device(id)));
}

#[test]
fn completion_follows_the_grammar() {
    let names = |field: Field, beginning: &str| {
        if field == Field::Host && "cmp-1".starts_with(beginning) {
            vec![("cmp-1".to_owned(), "host".to_owned())]
        } else {
            Vec::new()
        }
    };
    let texts = |text: &str| {
        complete::complete(text, names)
            .suggestions
            .into_iter()
            .map(|item| item.text)
            .collect::<Vec<_>>()
    };
    assert_eq!(texts("src.ip in 10.0.0.0/8 and res"), ["result"]);
    assert_eq!(complete::complete("a = ", names).suggestions, []);
    assert_eq!(texts("result = d"), ["dropped"]);
    assert_eq!(texts("host = c"), ["cmp-1"]);
    assert_eq!(texts("host in (cmp-2, c"), ["cmp-1"]);
    assert_eq!(texts("proto = tcp a"), ["and"]);
    assert!(texts("po").contains(&"src.port".to_owned()));
    assert!(texts("proto ").contains(&"=".to_owned()));
    assert_eq!(complete::complete("proto = tcp and dst.po", names).from, 16);
    assert_eq!(texts("srcip"), ["src.ip"]);
}

fn values(field: Field) -> BoxedStrategy<Value> {
    let typed = match field.kind() {
        FieldKind::Mac => any::<[u8; 6]>().prop_map(|bytes| Value::Mac(Mac(bytes))).boxed(),
        FieldKind::Ip => prop_oneof![
            any::<IpAddr>().prop_map(IpSet::One),
            (any::<IpAddr>(), 0u8..=128).prop_map(|(ip, length)| IpSet::Prefix(ip, if ip.is_ipv4() { length % 33 } else { length })),
            (any::<[u8; 4]>(), any::<[u8; 4]>()).prop_map(|(a, b)| IpSet::Range(a.min(b).into(), a.max(b).into())),
        ]
        .prop_map(Value::Ip)
        .boxed(),
        FieldKind::Number(max) => prop_oneof![
            (0..=max).prop_map(|n| Value::Number(n, n)),
            (0..=max, 0..=max).prop_map(|(a, b)| Value::Number(a.min(b), a.max(b)))
        ]
        .boxed(),
        FieldKind::Word => proptest::sample::select(field.words())
            .prop_map(|(_, number)| Value::Number(number, number))
            .boxed(),
        FieldKind::Object | FieldKind::Tenant => prop_oneof!["[a-z][a-z0-9.:-]{0,12}", ".{0,12}", Just("and".to_owned()), Just("none".to_owned())]
            .prop_map(Value::Name)
            .boxed(),
    };
    if field.may_be_none() {
        prop_oneof![9 => typed, 1 => Just(Value::None)].boxed()
    } else {
        typed
    }
}

fn a_test() -> impl Strategy<Value = Test> {
    proptest::sample::select(&ALL_FIELDS[..]).prop_flat_map(|field| {
        let ordered = matches!(field.kind(), FieldKind::Number(_));
        let one = values(field).prop_flat_map(move |value| {
            let single = matches!(value, Value::Number(low, high) if low == high);
            let ops: &[Op] = if ordered && single {
                &[Op::Eq, Op::Ne, Op::Lt, Op::Le, Op::Gt, Op::Ge, Op::In, Op::NotIn]
            } else {
                &[Op::Eq, Op::Ne, Op::In, Op::NotIn]
            };
            proptest::sample::select(ops).prop_map(move |op| Test {
                field,
                op,
                values: vec![value.clone()],
            })
        });
        let many = (
            proptest::sample::select(&[Op::In, Op::NotIn][..]),
            proptest::collection::vec(values(field), 2..4),
        )
            .prop_map(move |(op, values)| Test { field, op, values });
        prop_oneof![one, many]
    })
}

/// Expressions in the parser's normal form.
fn expressions() -> impl Strategy<Value = Expr> {
    let leaf = a_test().prop_map(Expr::Test);
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|expr| Expr::Not(Box::new(expr))),
            proptest::collection::vec(inner.clone(), 2..4).prop_map(Expr::from_conjuncts),
            proptest::collection::vec(inner, 2..4).prop_map(|parts| Expr::Or(
                parts
                    .into_iter()
                    .flat_map(|part| if let Expr::Or(inner) = part { inner } else { vec![part] })
                    .collect()
            )),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_printed_is_read_back(expr in expressions()) {
        let text = expr.to_string();
        prop_assert_eq!(parse(&text).map_err(|error| format!("{error} in {text}")).unwrap(), expr);
    }

    #[test]
    fn any_text_is_read_or_refused_within_it(text in ".{0,200}") {
        if let Err(error) = parse(&text) {
            prop_assert!(error.at.start <= error.at.end && error.at.end <= text.chars().count());
        }
        complete::complete(&text, |_, _| Vec::new());
    }

    #[test]
    fn swapping_twice_changes_nothing(expr in expressions()) {
        prop_assert_eq!(expr.swapped().swapped(), expr);
    }
}
