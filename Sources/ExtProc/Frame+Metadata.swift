internal import Bytes
internal import CEnvoyAPI

extension Frame {
    /// The strings under `namespace` → `key` of the request's filter metadata: one for a string, several for a list, nil when absent.
    ///
    /// Reads level by level and only along the path asked for, so that nesting elsewhere in the metadata costs nothing. Entries that are not
    /// strings are left out. What is there and cannot be read is an empty list, so that whoever obeys it does not take it for absent.
    package borrowing func metadataStrings(namespace: StaticString, key: StaticString) -> [String]? {
        let encoded = message.pointee.metadata_context
        guard encoded.len > 0 else { return nil }
        guard let metadata = apus_decode_metadata(arena, encoded.data, encoded.len) else { return [] }
        let namespaces = UnsafeBufferPointer(
            start: metadata.pointee.filter_metadata,
            count: metadata.pointee.n_filter_metadata
        )
        // A map's later entry replaces an earlier one of the same key.
        guard let match = namespaces.last(where: { $0?.pointee.key.isEqual(to: namespace) ?? false }) else {
            return nil
        }
        guard let fields = match?.pointee.value, let level = apus_decode_struct(arena, fields.data, fields.len) else {
            return []
        }
        let entries = UnsafeBufferPointer(start: level.pointee.fields, count: level.pointee.n_fields)
        guard let entry = entries.last(where: { $0?.pointee.key.isEqual(to: key) ?? false }) else { return nil }
        guard let encodedValue = entry?.pointee.value,
            let value = apus_decode_value(arena, encodedValue.data, encodedValue.len)
        else { return [] }
        if value.pointee.string_value.len > 0 {
            return [value.pointee.string_value.text]
        }
        let encodedList = value.pointee.list_value
        guard encodedList.len > 0, let list = apus_decode_list(arena, encodedList.data, encodedList.len) else {
            return []
        }
        var strings: [String] = []
        for item in UnsafeBufferPointer(start: list.pointee.values, count: list.pointee.n_values) {
            guard let value = apus_decode_value(arena, item.data, item.len) else { return [] }
            if value.pointee.string_value.len > 0 { strings.append(value.pointee.string_value.text) }
        }
        return strings
    }
}

extension ProtobufCBinaryData {
    fileprivate func isEqual(to text: StaticString) -> Bool {
        UnsafeRawBufferPointer(start: data, count: len).bytes.isEqual(to: text)
    }

    fileprivate var text: String {
        String(decoding: UnsafeBufferPointer(start: data, count: len), as: UTF8.self)
    }
}
