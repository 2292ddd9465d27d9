{
  "targets": [
    {
      "target_name": "kvm",
      "sources": ["src/kvm.cc"]
    }
  ]
}
