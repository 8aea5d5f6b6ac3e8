"""Golden images: base images whose git sends credentials first, and how builds come to use them.

| module | what it is |
|---|---|
| `catalogue` | which base images have a golden version, for which organisations: a YAML file |
| `build` | a catalogue as Dockerfiles, push commands and the mirror's configuration |
| `forge` | a server on loopback that asks for credentials and remembers what it was asked |
| `verify` | what a git really does when the forge asks |
"""
