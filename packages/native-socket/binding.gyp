{
  "targets": [
    {
      "target_name": "native-socket",
      "sources": ["src/native-socket.cc"]
    }
  ]
}
