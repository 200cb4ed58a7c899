-- How Neovim starts and talks to `codekin lsp`; `vim.lsp.enable("codekin")` is all that it takes.
-- Change any of it with `vim.lsp.config("codekin", { ... })`.

---@type vim.lsp.Config
return {
  cmd = { "codekin", "lsp" },
  filetypes = {
    "elixir", "eelixir", "heex", "surface", "erlang", "gleam", "c", "cpp", "cuda", "objcpp", "python", "livebook",
    "rust", "go", "java", "kotlin", "cs", "javascript", "javascriptreact", "typescript", "typescriptreact", "ruby",
    "php", "swift", "scala", "lua", "zig", "haskell", "ocaml", "julia", "r", "sh", "sql", "proto", "terraform", "yaml",
  },
  root_markers = { ".git", "mix.exs", "CMakeLists.txt", "compile_commands.json" },
  init_options = { showSimilarCommand = "codekin.showSimilar", status = true },
  capabilities = {
    -- Ghost text is drawn by this plugin or by Neovim itself, so no menu items are wanted.
    textDocument = { inlineCompletion = { dynamicRegistration = false } },
    workspace = { codeLens = { refreshSupport = true } },
  },
  on_exit = function(code)
    if code ~= 0 and vim.v.exiting == vim.NIL then
      vim.schedule(function()
        vim.notify("Codekin: the server has ended; :checkhealth codekin says why and what to do.", vim.log.levels.WARN)
      end)
    end
  end,
  commands = {
    ["codekin.showSimilar"] = function(command)
      require("codekin.similar").show(command.arguments[1])
    end,
  },
  handlers = {
    ["codekin/status"] = function(_, status)
      require("codekin.status").update(status)
    end,
    ["workspace/codeLens/refresh"] = function(_, _, context)
      require("codekin.lens").refresh_all(context.client_id)
      return vim.NIL
    end,
  },
}
