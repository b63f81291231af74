package market_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sluicegate/sluice/internal/market"
)

var orders = []struct {
	name, body    string
	sale          bool
	field, reason string // of what is wrong; "" for a good one
}{
	{"good", `{"username":"u1","volume":100,"price":3}`, false, "", ""},
	{"another order, white space", " { \"price\" : 3 ,\r\n\t\"volume\":100,\"username\":\"u1\" } \n", false, "", ""},
	{"largest", `{"username":"u1","volume":18446744073709551615,"price":18446744073709551615}`, false, "", ""},
	{"zero", `{"username":"u1","volume":0,"price":0}`, false, "", ""},
	{"escapes", `{"\u0075sername":"\u00e9\ud83d\ude00\/\\\"","volume":1,"price":1}`, false, "", ""},
	{"sale", `{"volume":250}`, true, "", ""},

	{"empty", ``, false, "body", "must be a JSON object"},
	{"null", `null`, false, "body", "must be a JSON object"},
	{"list", `[]`, false, "body", "must be a JSON object"},
	{"cut off", `{"username":"u1","volume":100,"price":3`, false, "body", "is not valid JSON"},
	{"cut off in a string", `{"username":"u1`, false, "username", "has no end"},
	{"cut off in a name", `{"user`, false, "body", "has no end"},
	{"cut off behind a comma", `{"volume":1,`, true, "body", "the name of a field must be a string"},
	{"comma at the end", `{"volume":1,}`, true, "body", "the name of a field must be a string"},
	{"comma at the start", `{,"volume":1}`, true, "body", "the name of a field must be a string"},
	{"no colon", `{"volume" 1}`, true, "body", "no colon"},
	{"no comma", `{"username":"u1" "volume":1,"price":1}`, false, "body", "is not valid JSON after"},
	{"no quotes", `{volume:1}`, true, "body", "must be a string"},
	{"single quotes", `{'volume':1}`, true, "body", "must be a string"},
	{"comment", `{/**/"volume":1}`, true, "body", "must be a string"},
	{"trailing word", `{"volume":1} x`, true, "body", "has something after"},
	{"two objects", `{"volume":1}{"volume":1}`, true, "body", "has something after"},
	{"byte order mark", "\ufeff{\"volume\":1}", true, "body", "must be a JSON object"},

	{"no username", `{"volume":1,"price":1}`, false, "username", "is missing"},
	{"no volume", `{"username":"u1","price":1}`, false, "volume", "is missing"},
	{"no price", `{"username":"u1","volume":1}`, false, "price", "is missing"},
	{"nothing", `{}`, true, "volume", "is missing"},
	{"unknown", `{"volume":1,"colour":"red"}`, true, "colour", "is not a field"},
	{"without a name", `{"":1}`, true, `""`, "is not a field"},
	{"of another request", `{"volume":1,"price":1}`, true, "price", "is not a field"},
	{"another case", `{"Volume":1}`, true, "Volume", "is not a field"},
	{"long name", `{"` + strings.Repeat("x", 1000) + `":1}`, true, strings.Repeat("x", 64) + "…", "is not a field"},
	{"twice", `{"volume":1,"volume":1}`, true, "volume", "is there twice"},
	{"twice, escaped", `{"volume":1,"v\u006flume":1}`, true, "volume", "is there twice"},

	{"negative", `{"volume":-1}`, true, "volume", "must not be negative"},
	{"minus zero", `{"volume":-0}`, true, "volume", "must not be negative"},
	{"fraction", `{"volume":1.5}`, true, "volume", "must be an integer"},
	{"integer with a fraction", `{"volume":3.0}`, true, "volume", "must be an integer"},
	{"exponent", `{"volume":1e2}`, true, "volume", "must be an integer"},
	{"65 bits", `{"volume":18446744073709551616}`, true, "volume", "must be at most 18446744073709551615"},
	{"66 bits", `{"volume":36893488147419103232}`, true, "volume", "must be at most 18446744073709551615"},
	{"hundred digits", `{"volume":` + strings.Repeat("9", 100) + `}`, true, "volume", "must be at most 18446744073709551615"},
	{"price of 65 bits", `{"username":"u1","volume":1,"price":18446744073709551616}`, false, "price", "must be at most"},
	{"leading zero", `{"volume":01}`, true, "volume", "must be a number"},
	{"plus", `{"volume":+1}`, true, "volume", "must be a number"},
	{"hexadecimal", `{"volume":0x10}`, true, "volume", "must be a number"},
	{"string", `{"volume":"1"}`, true, "volume", "must be a number"},
	{"null number", `{"volume":null}`, true, "volume", "must be a number"},
	{"list as number", `{"volume":[1]}`, true, "volume", "must be a number"},
	{"NaN", `{"volume":NaN}`, true, "volume", "must be a number"},
	{"no value", `{"volume":}`, true, "volume", "has no value"},
	{"no end", `{"volume":1`, true, "body", "is not valid JSON"},

	{"empty username", `{"username":"","volume":1,"price":1}`, false, "username", "must not be empty"},
	{"long username", `{"username":"` + strings.Repeat("x", 129) + `","volume":1,"price":1}`, false, "username", "has 129 bytes"},
	{"number as username", `{"username":1,"volume":1,"price":1}`, false, "username", "must be a string"},
	{"null as username", `{"username":null,"volume":1,"price":1}`, false, "username", "must be a string"},
	{"bad UTF-8", "{\"username\":\"a\xff\",\"volume\":1,\"price\":1}", false, "username", "is not valid UTF-8"},
	{"bad UTF-8 behind an escape", "{\"username\":\"\\n\xff\",\"volume\":1,\"price\":1}", false, "username", "is not valid UTF-8"},
	{"raw control character", "{\"username\":\"a\nb\",\"volume\":1,\"price\":1}", false, "username", "has a control character"},
	{"raw control character behind an escape", "{\"username\":\"\\\\\nb\",\"volume\":1,\"price\":1}", false, "username", "has a control character"},
	{"escaped control character", `{"username":"a\u0000b","volume":1,"price":1}`, false, "username", "must not have control characters"},
	{"half a surrogate", `{"username":"\ud83d","volume":1,"price":1}`, false, "username", "escape that means no character"},
	{"wrong surrogate", `{"username":"\ud83d\u0041","volume":1,"price":1}`, false, "username", "escape that means no character"},
	{"late surrogate", `{"username":"\ude00","volume":1,"price":1}`, false, "username", "escape that means no character"},
	{"bad escape", `{"username":"\x","volume":1,"price":1}`, false, "username", "escape that means no character"},
	{"bad hexadecimal", `{"username":"\u00g0","volume":1,"price":1}`, false, "username", "escape that means no character"},
	{"escape at the end", `{"username":"\`, false, "username", "escape that means no character"},
}

func TestDecode(t *testing.T) {
	for _, c := range orders {
		_, _, _, field, reason := market.Decode([]byte(c.body), c.sale)
		if field != c.field || !strings.Contains(reason, c.reason) {
			t.Errorf("%s: %q %q, want %q %q", c.name, field, reason, c.field, c.reason)
		}
	}
	if name, volume, price, _, _ := market.Decode([]byte(orders[4].body), false); name != `é😀/\"` || volume != 1 || price != 1 {
		t.Errorf("%q %d %d", name, volume, price)
	}
}

// What is taken means the same to encoding/json, and what encoding/json refuses is refused.
func FuzzDecode(f *testing.F) {
	for _, c := range orders {
		f.Add([]byte(c.body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		type order struct {
			Username *string `json:"username"`
			Volume   *uint64 `json:"volume"`
			Price    *uint64 `json:"price"`
		}
		var want order
		d := json.NewDecoder(bytes.NewReader(body))
		d.DisallowUnknownFields()
		err := d.Decode(&want)
		ours := err == nil && want.Username != nil && want.Volume != nil && want.Price != nil
		username, volume, price, field, reason := market.Decode(body, false)
		if reason == "" && (!ours || username != *want.Username || volume != *want.Volume || price != *want.Price) {
			t.Errorf("%q gave %q %d %d, and encoding/json %+v, %v", body, username, volume, price, want, err)
		}
		if !utf8.ValidString(field) || (field == "") != (reason == "") {
			t.Errorf("%q: field %q, reason %q", body, field, reason)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	body := []byte(`{"username":"user-17","volume":100,"price":42}`)
	b.Run("own", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			market.Decode(body, false)
		}
	})
	b.Run("encoding/json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var p struct {
				Username      string
				Volume, Price uint64
			}
			json.Unmarshal(body, &p)
		}
	})
}
