package store

import "strconv"

// Most values that steps pass on by themselves are whole numbers and short texts, such
// as ids. What package json makes of those, and only that, is made here without its
// reflection.

// quickEncode answers false for what is left to package json.
func quickEncode(v any) ([]byte, bool) {
	switch v := v.(type) {
	case int:
		return strconv.AppendInt(make([]byte, 0, 8), int64(v), 10), true
	case string:
		if plain(v) {
			b := append(make([]byte, 0, len(v)+2), '"')
			return append(append(b, v...), '"'), true
		}
	}
	return nil, false
}

// quickDecode answers false for what is left to package json, and changes nothing then.
func quickDecode(data []byte, into any) bool {
	switch into := into.(type) {
	case *int:
		n, ok := wholeNumber(data)
		if ok && into != nil {
			*into = n
			return true
		}
	case *string:
		last := len(data) - 1
		if last >= 1 && data[0] == '"' && data[last] == '"' && into != nil {
			if text := string(data[1:last]); plain(text) {
				*into = text
				return true
			}
		}
	}
	return false
}

// plain says that a text is ASCII, and that nothing in it is escaped.
func plain(text string) bool {
	for i := range len(text) {
		switch c := text[i]; {
		case c < ' ' || c > '~', c == '"', c == '\\', c == '<', c == '>', c == '&':
			return false
		}
	}
	return true
}

// wholeNumber reads a number that surely is no larger than an int.
func wholeNumber(data []byte) (n int, ok bool) {
	digits := data
	if len(data) > 0 && data[0] == '-' {
		digits = data[1:]
	}
	if len(digits) == 0 || len(digits) > mostDigits || digits[0] == '0' && len(digits) > 1 {
		return 0, false
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	if len(digits) < len(data) {
		n = -n
	}
	return n, true
}

// mostDigits is how many digits an int has room for, whichever they are.
const mostDigits = 9 * (strconv.IntSize / 32)
