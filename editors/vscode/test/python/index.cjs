// As much of the Python extension's API as is asked of it; the tests name the selected interpreter in the environment.
exports.activate = () => ({
  environments: {
    getActiveEnvironmentPath: () => ({ path: process.env.CODEKIN_TEST_PYTHON ?? "" }),
    resolveEnvironment: async ({ path }) => (path ? { executable: { uri: require("vscode").Uri.file(path) } } : undefined),
  },
});
