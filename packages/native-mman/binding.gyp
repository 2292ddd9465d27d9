{
  "targets": [
    {
      "target_name": "native-mman",
      "sources": ["src/native-mman.cc", "src/cache-flush.cc", "src/page-checksum.cc"]
    }
  ]
}
