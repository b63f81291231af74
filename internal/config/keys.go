package config

// Hash is a SHA-256 hash. In a file it is 64 hexadecimal digits.
type Hash [32]byte

// Key says whose an API key is. The key itself is not kept anywhere, only its hash.
type Key struct {
	// Name of the owner; one owner may have several keys. Required.
	Name string `yaml:"name,required"`
	// SHA256 of the key's bytes. Required.
	SHA256 Hash `yaml:"sha256,required"`
	// Price is the owner's place in a price-ordered queue, 0 or more; higher goes first. Default 0.
	Price int64 `yaml:"price"`
}
