{
  "targets": [
    {
      "target_name": "native-mman",
      "sources": ["src/native-mman.cc", "src/page-checksum.cc"]
    }
  ]
}
