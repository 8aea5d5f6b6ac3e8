"""Golden images: base images whose git sends credentials first, and how builds come to use them.

| module | what it is |
|---|---|
| `catalogue` | which base images have a golden version, for which organisations: a YAML file |
| `forge` | a server on loopback that asks for credentials and remembers what it was asked |
| `gits` | a git of this machine, of a root file system or of an image, ready to be run |
| `verify` | what a git really does when the forge asks |
| `references` | what docker takes an image reference for |
| `resolve` | which member of the virtual repository would serve an image |
| `dockerfiles` | which images a Dockerfile is built from |
| `scan` | the same for all Dockerfiles of a tree |
| `totals` | what a scan comes to |

What a catalogue becomes is the kit `ciforensics.kits.golden_images`.
"""
