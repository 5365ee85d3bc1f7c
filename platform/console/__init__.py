"""The kit of the console: base admins, long lists, versioned forms, confirmation, formatting, navigation, guide."""
