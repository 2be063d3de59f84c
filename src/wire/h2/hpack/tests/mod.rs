use super::*;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let digit = |d: u8| char::from(d).to_digit(16).unwrap() as u8;
    digits.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

fn decode(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<(Name, String)>, HpackError> {
    let mut fields = Vec::new();
    decoder.decode(block, 64 * 1024, |field: &Field<'_>| {
        assert!(field.sound);
        fields.push((field.name, String::from_utf8(field.value.to_vec()).unwrap()));
    })?;
    Ok(fields)
}

fn table_of(decoder: &Decoder) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (table::STATIC_ENTRIES + 1..)
        .map_while(|at| {
            Some((text(decoder.table.name(at)?.0), table::tests::value(&decoder.table, at)?))
        })
        .collect()
}

fn check(decoder: &mut Decoder, hex: &str, fields: &[(Name, &str)], table: &[(&str, &str)]) {
    let got = decode(decoder, &bytes(hex)).unwrap();
    let got: Vec<(Name, &str)> = got.iter().map(|(name, value)| (*name, &value[..])).collect();
    assert_eq!(got, fields, "{hex}");
    let got = table_of(decoder);
    let got: Vec<(&str, &str)> = got.iter().map(|(name, value)| (&name[..], &value[..])).collect();
    assert_eq!(got, table, "{hex}");
}

#[test]
fn appendix_c_2_literals() {
    let key = ("custom-key", "custom-header");
    let block = "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572";
    check(&mut Decoder::default(), block, &[(Name::Other, "custom-header")], &[key]);
    let block = "040c 2f73 616d 706c 652f 7061 7468";
    check(&mut Decoder::default(), block, &[(Name::Path, "/sample/path")], &[]);
    let block = "1008 7061 7373 776f 7264 0673 6563 7265 74";
    check(&mut Decoder::default(), block, &[(Name::Other, "secret")], &[]);
    check(&mut Decoder::default(), "82", &[(Name::Method, "GET")], &[]);
}

#[test]
fn appendix_c_3_and_c_4_requests() {
    let plain = [
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
    ];
    let coded = [
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
    ];
    let host = "www.example.com";
    let table =
        [("custom-key", "custom-value"), ("cache-control", "no-cache"), (":authority", host)];
    for blocks in [plain, coded] {
        let mut decoder = Decoder::default();
        let first = [
            (Name::Method, "GET"),
            (Name::Scheme, "http"),
            (Name::Path, "/"),
            (Name::Authority, host),
        ];
        check(&mut decoder, blocks[0], &first, &table[2..]);
        let second = [&first[..], &[(Name::Other, "no-cache")]].concat();
        check(&mut decoder, blocks[1], &second, &table[1..]);
        let third = [
            (Name::Method, "GET"),
            (Name::Scheme, "https"),
            (Name::Path, "/index.html"),
            (Name::Authority, host),
            (Name::Other, "custom-value"),
        ];
        check(&mut decoder, blocks[2], &third, &table);
    }
}

#[test]
fn appendix_c_5_and_c_6_replies_with_eviction() {
    let plain = [
        "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a
         3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "4803 3330 37c1 c0bf",
        "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04
         677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49
         553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31",
    ];
    let coded = [
        "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e
         919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
        "4883 640e ffc1 c0bf",
        "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7
         821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed
         4ee5 b106 3d50 07",
    ];
    let (early, late) = ("Mon, 21 Oct 2013 20:13:21 GMT", "Mon, 21 Oct 2013 20:13:22 GMT");
    let (place, cookie) =
        ("https://www.example.com", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1");
    let rest = [("location", place), ("date", early), ("cache-control", "private")];
    for blocks in [plain, coded] {
        let mut decoder = Decoder::default();
        decoder.table.resize(256);
        let others = [(Name::Other, "private"), (Name::Other, early), (Name::Other, place)];
        let first = [&[(Name::Status, "302")], &others[..]].concat();
        check(&mut decoder, blocks[0], &first, &[&rest[..], &[(":status", "302")]].concat());
        let second = [&[(Name::Status, "307")], &others[..]].concat();
        check(&mut decoder, blocks[1], &second, &[&[(":status", "307")], &rest[..]].concat());
        let third = [
            (Name::Status, "200"),
            (Name::Other, "private"),
            (Name::Other, late),
            (Name::Other, place),
            (Name::Other, "gzip"),
            (Name::Other, cookie),
        ];
        let table = [("set-cookie", cookie), ("content-encoding", "gzip"), ("date", late)];
        check(&mut decoder, blocks[2], &third, &table);
    }
}

#[test]
fn broken_blocks_are_refused() {
    let cases = [
        ("40", HpackError::Truncated),
        ("80", HpackError::Index(0)),
        ("be", HpackError::Index(62)),
        ("7f 80 80 80 80 01", HpackError::Integer),
        ("04 7f ff ff ff 7f", HpackError::Truncated),
        ("04 81 ff", HpackError::Huffman),
        ("3f e2 1f", HpackError::TableSize),
        ("82 20", HpackError::TableSize),
    ];
    for (hex, error) in cases {
        assert_eq!(decode(&mut Decoder::default(), &bytes(hex)), Err(error), "{hex}");
    }
}

#[test]
fn the_peer_may_shrink_its_table_at_the_start_of_a_block() {
    let mut decoder = Decoder::default();
    decode(&mut decoder, &bytes("400161 0162")).unwrap();
    assert_eq!(table_of(&decoder).len(), 1);
    assert_eq!(decode(&mut decoder, &bytes("20 3fe11f 82")).unwrap().len(), 1);
    assert_eq!(table_of(&decoder).len(), 0);
    assert_eq!(decode(&mut decoder, &bytes("be")), Err(HpackError::Index(62)));
}

#[test]
fn a_bomb_is_counted_before_it_is_kept() {
    let mut decoder = Decoder::default();
    let mut block = Vec::new();
    write_indexed_literal(0, b"x", &[b'y'; 4000], &mut block);
    block.extend(std::iter::repeat_n(0xBE, 16 * 1024));
    let mut shown = 0;
    let result = decoder.decode(&block, 64 * 1024, |_: &Field<'_>| shown += 1);
    assert_eq!(result, Err(HpackError::TooLarge(64 * 1024)));
    assert!(shown < 20, "{shown}");
    let empty_names = [0x40, 0x00, 0x00].repeat(3000);
    let result = decoder.decode(&empty_names, 64 * 1024, |_: &Field<'_>| {});
    assert_eq!(result, Err(HpackError::TooLarge(64 * 1024)), "an empty field counts 32 bytes");
}

#[test]
fn what_is_written_is_decoded() {
    let mut block = Vec::new();
    write_literal(31, b"", b"application/grpc", &mut block);
    write_literal(0, b"grpc-status", b"13", &mut block);
    write_indexed_literal(0, b"te", b"trailers", &mut block);
    let mut decoder = Decoder::default();
    let fields = decode(&mut decoder, &block).unwrap();
    let kinds: Vec<Name> = fields.iter().map(|field| field.0).collect();
    assert_eq!(kinds, [Name::ContentType, Name::GrpcStatus, Name::Te]);
    assert_eq!(table_of(&decoder), [("te".to_owned(), "trailers".to_owned())]);
}

#[test]
fn unsound_fields_are_shown_as_such_and_stay_so_in_the_table() {
    let mut decoder = Decoder::default();
    let mut block = Vec::new();
    write_indexed_literal(0, b"Upper", b"x", &mut block);
    write_literal(31, b"", b" padded", &mut block);
    block.push(0xBE);
    let mut sound = Vec::new();
    decoder.decode(&block, 64 * 1024, |field: &Field<'_>| sound.push(field.sound)).unwrap();
    assert_eq!(sound, [false, false, false]);
}
